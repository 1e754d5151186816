/*
 * Dates that the user gives, by an option or by SOURCE_DATE_EPOCH: no verb looks at a clock for
 * them.
 */
#ifndef TOOLS_DATES_H
#define TOOLS_DATES_H

#define DATES_LEN 32

/*
 * What `given` (may be NULL) says or else, written into `date`, SOURCE_DATE_EPOCH, as a date of RFC
 * 3339; *ret is NULL when there is neither.  Returns an exit status, after a message that names the
 * option when it is not 0.
 */
int dates_find(const char *name, const char *given, char date[DATES_LEN], const char **ret);

#endif
