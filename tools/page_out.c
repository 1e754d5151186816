/*
 * Where the pages of --html go.  See page_out.h.
 */
#include "page_out.h"

#include "fmpatch.h"
#include "outfile.h"
#include "outname.h"
#include "report.h"
#include "spool.h"

int page_check(const char *path, bool replace, const common_args *common, const char *const *inputs,
               size_t n)
{
    if (spool_is_dash(path))
        return common->json ? report_usage("--html - and --json both write standard output")
                            : FMP_OK;
    for (size_t i = 0; i < n; i++) {
        if (inputs[i] && outname_is_same(path, inputs[i]))
            return report_usage("--html: the page would replace '%s'", inputs[i]);
    }
    return outfile_check(path, replace);
}

int page_put(const char *path, const html_page *page, bool replace, const common_args *common)
{
    int status;

    if (spool_is_dash(path)) {
        fwrite(page->data, 1, page->len, stdout); /* what fails is seen when the program ends */
        return FMP_OK;
    }
    status = outfile_write(path, page->data, page->len, replace);
    if (!status && !common->json)
        puts(path);
    return status;
}
