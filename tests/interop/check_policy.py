#!/usr/bin/env python3
"""Holds policies and what verify says of them to their schemas.

SARIF files are read with pydantic-sarif, whose classes are generated from the standard's JSON schema and
refuse members that it does not know.  docs/policy.schema.json must take what the program takes, and refuse
the policies that the program refuses for their shape.  The program is that of FMP_BUILD, else of build/.
Exits 77 without pydantic-sarif or jsonschema.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import jsonschema
    from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("FMP_BUILD") or ROOT / "build").resolve() / "tools/fmpatch"
CHECKPOINT = ROOT / "tests/cli/bin/checkpoint"

# Policies, and the exit status of verify without a base.
GOOD = [
    ('"kinds": ["task"]', 0),
    ('"kinds": ["step"], "max_bytes": 1', 7),
    ('"tensors": {"may_change": [], "must_change": ["*"], "no_added": true}', 7),
    ('"limits": [{"per": "tensor", "max_changed_share": 0, "max_residual": 0, "max_relative_l2": 0}]', 7),
    ('"limits": [{"tensors": "*norm*", "max_changed_share": 1}]', 0),
    ('"signatures": {"keys": ["%s"], "threshold": 1}, "files": {"may_change": ["*"]}' % ("0f" * 32), 1),
    ('"lineage": {"ids": ["a"], "min_sequence": 3, "max_age_days": 2, "require_not_after": true}', 7),
    ('"allow_unmatched_globs": true, "description": "d", "tensors": {"must_not_change": ["x"]}', 0),
]
BAD = [
    "", '"max_byte": 1', '"max_bytes": -1', '"max_bytes": "1"', '"kinds": []', '"kinds": "task"',
    '"tensors": {"must_not_change": []}', '"tensors": {"no_added": 1}', '"limits": [{}]',
    '"limits": [{"per": "model", "max_residual": 1}]', '"limits": [{"max_changed_share": 1.5}]',
    '"limits": [{"max_residual": 1, "tensors": []}]', '"signatures": {}', '"signatures": {"keys": ["00"]}',
    '"lineage": {"id": ["a"]}', '"lineage": {"max_age_days": 0}', '"files": {"must_change": ["a"]}',
    '"description": 7, "max_bytes": 1',
]


def verify(folder, body, *more):
    (folder / "policy.json").write_text(body)
    env = dict(os.environ, HOME=str(folder), XDG_STATE_HOME=str(folder / "state"))
    return subprocess.run([PROGRAM, "verify", "p \u00e9%.fmp", "--policy", "policy.json", *more], cwd=folder,
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def check_sarif(path):
    document = json.loads(path.read_text())
    assert document.pop("$schema").endswith("sarif-2.1.0.json")
    Sarif.model_validate(document)
    run = document["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri == "p%20%C3%A9%25.fmp", uri
    return len(run["results"]), rules


def check_refusals(path):
    """That the reader of SARIF files refuses what the standard does not have."""
    document = json.loads(path.read_text())
    document.pop("$schema")
    document["runs"][0]["results"][0]["level"] = "fatal"
    try:
        Sarif.model_validate(document)
    except ValueError:
        return
    raise AssertionError("a level that is none was taken")


def documented():
    """The policies in docs/policy.md: indented blocks that begin with a brace and the version."""
    text = (ROOT / "docs/policy.md").read_text()
    for block in re.findall(r"(?:^    .*\n)+", text, re.M):
        if re.match(r'\s*\{\s*"fmpatch_policy"', block):
            yield block


def main():
    schema = json.loads((ROOT / "docs/policy.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    n_findings = n_documented = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for file, flags in (("b.safetensors", []), ("t.safetensors", ["--tuned"])):
            subprocess.run([CHECKPOINT, folder / file, *flags], check=True)
        subprocess.run([PROGRAM, "create", "-q", "b.safetensors", "t.safetensors", "-o", "p \u00e9%.fmp"],
                       cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for body, status in GOOD:
            body = '{"fmpatch_policy": 1, %s}' % body
            validator.validate(json.loads(body))
            done = verify(folder, body, "--sarif", "s.sarif", "-f")
            assert done.returncode == status, (body, done)
            n, rules = check_sarif(folder / "s.sarif")
            assert (n == 0) == (status == 0), body
            n_findings += n
            if n:
                check_refusals(folder / "s.sarif")
        for body in BAD:
            body = '{"fmpatch_policy": 1%s%s}' % (", " if body else "", body)
            assert not validator.is_valid(json.loads(body)), body
            assert verify(folder, body).returncode == 3, body
        for body in documented():
            validator.validate(json.loads(body))
            assert verify(folder, body).returncode in (1, 7), body
            n_documented += 1
    assert n_documented == 2, n_documented
    text = (ROOT / "docs/policy.md").read_text()
    for rule in rules:
        assert f"`{rule}`" in text or rule in ("no-removed-tensors", "no-renamed-tensors"), rule
    print(f"{n_findings} findings in {len(GOOD)} SARIF files, {len(BAD)} bad policies, "
          f"{n_documented} documented ones: right")


if __name__ == "__main__":
    main()
