/*
 * SARIF.  See sarif.h.  Numbers of sections are those of the standard.
 */
#include "sarif.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "textutil.h"

#define SCHEMA "https://json.schemastore.org/sarif-2.1.0.json"

/* A message or a description: 3.11. */
static json_t *said(json_t *text)
{
    json_t *o = json_object();

    report_json_set(o, "text", text);
    return o;
}

/* A reporting descriptor: 3.49. */
static json_t *rule(uint32_t i)
{
    const fmp_policy_rule r = fmp_policy_rule_at(i);
    json_t *o = json_object();
    json_t *level = json_object();
    char *title = text_format("%s.", r.title);

    report_json_set(level, "level", json_string("error"));
    report_json_set(o, "id", json_string(r.id));
    report_json_set(o, "shortDescription", said(json_string(title)));
    report_json_set(o, "help", said(json_string(r.help)));
    report_json_set(o, "defaultConfiguration", level);
    free(title);
    return o;
}

static uint32_t rule_number(const char *id)
{
    uint32_t i = 0;

    while (i < fmp_policy_rule_count() && strcmp(fmp_policy_rule_at(i).id, id) != 0)
        i++;
    return i;
}

/* A path as a reference of RFC 3986, so that no byte of it has a meaning; 3.4.3. */
static char *uri_of(const char *path)
{
    static const char plain[] = "-._~/";
    char *uri = text_alloc(3 * strlen(path) + sizeof "file://");
    char *to = uri;

    if (*path == '/') {
        memcpy(to, "file://", 7);
        to += 7;
    }
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (*p < 0x80 && (isalnum(*p) || strchr(plain, *p)))
            *to++ = (char)*p;
        else
            to += snprintf(to, 4, "%%%02X", *p);
    }
    *to = 0;
    return uri;
}

/* 3.28, 3.29, 3.33. */
static json_t *location(const fmp_finding *f, const char *uri)
{
    const char *name = f->tensor ? f->tensor : f->file;
    json_t *artifact = json_object();
    json_t *physical = json_object();
    json_t *o = json_object();

    report_json_set(artifact, "uri", json_string(uri));
    report_json_set(physical, "artifactLocation", artifact);
    report_json_set(o, "physicalLocation", physical);
    if (name) {
        json_t *logical = json_object();
        json_t *list = json_array();

        report_json_set(logical, "fullyQualifiedName", report_json_text(name));
        report_json_set(logical, "kind", json_string(f->tensor ? "tensor" : "file"));
        json_array_append_new(list, logical);
        report_json_set(o, "logicalLocations", list);
    }
    return o;
}

/* A result: 3.27. */
static json_t *result(const fmp_finding *f, const char *uri)
{
    const char *name = f->tensor ? f->tensor : f->file;
    char *text = text_format("%s%s%s; expected %s, found %s (%s)", name ? name : "",
                             name ? ": " : "", f->message, f->expected, f->found, f->member);
    char *shown = text_escape(text, strlen(text));
    json_t *places = json_array();
    json_t *more = json_object();
    json_t *o = json_object();

    json_array_append_new(places, location(f, uri));
    report_json_set(more, "member", json_string(f->member));
    report_json_set(more, "expected", report_json_text(f->expected));
    report_json_set(more, "found", report_json_text(f->found));
    report_json_set(o, "ruleId", json_string(f->rule));
    report_json_set(o, "ruleIndex", json_integer(rule_number(f->rule)));
    report_json_set(o, "level", json_string("error"));
    report_json_set(o, "message", said(json_string(shown)));
    report_json_set(o, "locations", places);
    report_json_set(o, "properties", more);
    free(text);
    free(shown);
    return o;
}

/* 3.18, 3.19. */
static json_t *tool(void)
{
    json_t *driver = json_object();
    json_t *rules = json_array();
    json_t *o = json_object();

    for (uint32_t i = 0; i < fmp_policy_rule_count(); i++)
        json_array_append_new(rules, rule(i));
    report_json_set(driver, "name", json_string("fmpatch"));
    report_json_set(driver, "version", json_string(fmp_version()));
    report_json_set(driver, "semanticVersion", json_string(fmp_version()));
    report_json_set(driver, "rules", rules);
    report_json_set(o, "driver", driver);
    return o;
}

/* An invocation: 3.20.  It went well whatever was found. */
static json_t *invocation(const fmp_policy_results *results)
{
    json_t *o = json_object();
    json_t *list = json_array();

    report_json_set(o, "executionSuccessful", json_true());
    report_json_set(o, "exitCode",
                    json_integer(fmp_exit_status(fmp_policy_results_verdict(results))));
    json_array_append_new(list, o);
    return list;
}

char *sarif_text(const fmp_policy_results *results, const char *path)
{
    char *uri = uri_of(path);
    json_t *document = json_object();
    json_t *run = json_object();
    json_t *runs = json_array();
    json_t *list = json_array();
    char *text, *whole;

    for (uint32_t i = 0; i < fmp_policy_results_count(results); i++) {
        const fmp_finding f = fmp_policy_results_at(results, i);

        json_array_append_new(list, result(&f, uri));
    }
    report_json_set(run, "tool", tool());
    report_json_set(run, "invocations", invocation(results));
    report_json_set(run, "results", list);
    json_array_append_new(runs, run);
    report_json_set(document, "$schema", json_string(SCHEMA));
    report_json_set(document, "version", json_string("2.1.0"));
    report_json_set(document, "runs", runs);
    text = json_dumps(document, JSON_INDENT(1));
    if (!text) {
        report_warning("out of memory");
        exit(fmp_exit_status(FMP_ENOMEM));
    }
    whole = text_format("%s\n", text);
    free(text);
    free(uri);
    json_decref(document);
    return whole;
}
