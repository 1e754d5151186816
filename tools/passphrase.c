/*
 * Passphrases, asked for or read.  The copy of one that was read lies in locked memory of its own
 * and is overwritten at the end.
 */
#include "passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "progress.h"
#include "report.h"

static struct {
    char text[PASSPHRASE_MAX];
    int len;
    bool known;
} kept;

/* One line of at most cap - 1 bytes, byte by byte: what follows it is somebody else's.  -1 after a
 * message. */
static int read_line(int fd, const char *what, char *line, size_t cap)
{
    size_t len = 0;

    for (;;) {
        char c;
        const ssize_t n = read(fd, &c, 1);

        if (n < 0 && errno == EINTR && !progress_signal())
            continue;
        if (n < 0) {
            if (!progress_signal())
                report_errno(what);
            return -1;
        }
        if (n == 0 || c == '\n')
            break;
        if (len + 1 >= cap || !c) {
            report_warning("%s: the passphrase is too long or holds a NUL", what);
            return -1;
        }
        line[len++] = c;
    }
    if (len && line[len - 1] == '\r')
        len--;
    line[len] = '\0';
    return (int)len;
}

static int from_terminal(const char *prompt, char *pass, size_t cap)
{
    const int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios old, silent;
    int len = -1;

    if (fd < 0) {
        report_warning("there is no terminal to ask for a passphrase on; use --passphrase-file or "
                       "--passphrase-fd");
        return -1;
    }
    if (!tcgetattr(fd, &old)) {
        silent = old;
        silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
        if (!tcsetattr(fd, TCSAFLUSH, &silent)) {
            dprintf(fd, "%s", prompt);
            len = read_line(fd, "/dev/tty", pass, cap);
            tcsetattr(fd, TCSAFLUSH, &old);
            dprintf(fd, "\n");
        }
    }
    close(fd);
    return len;
}

int passphrase_open(const passphrase_args *args)
{
    const char *what = args->file ? args->file : "--passphrase-fd";
    int fd;

    if (args->file && args->fd.given)
        return report_usage("--passphrase-file and --passphrase-fd exclude each other");
    if (!args->file && !args->fd.given)
        return FMP_OK;
    fd = args->file ? open(args->file, O_RDONLY | O_CLOEXEC | O_NOCTTY) : (int)args->fd.value;
    if (fd < 0)
        return report_errno(what);
    mlock(&kept, sizeof kept); /* what cannot be locked is still overwritten */
    kept.len = read_line(fd, what, kept.text, sizeof kept.text);
    kept.known = kept.len >= 0;
    if (args->file)
        close(fd);
    return kept.known ? FMP_OK : fmp_exit_status(FMP_EIO);
}

int passphrase_ask(void *ctx, const char *prompt, char *pass, size_t cap)
{
    (void)ctx;
    if (!kept.known)
        return from_terminal(prompt, pass, cap);
    if ((size_t)kept.len >= cap) {
        report_warning("the passphrase is too long");
        return -1;
    }
    memcpy(pass, kept.text, (size_t)kept.len + 1);
    return kept.len;
}

int passphrase_ask_new(char *pass, size_t cap)
{
    char again[PASSPHRASE_MAX];
    int len = passphrase_ask(NULL, "New passphrase: ", pass, cap);

    if (len == 0) {
        report_warning("the passphrase is empty; --no-passphrase writes a key without one");
        return -1;
    }
    if (len < 0 || kept.known)
        return len;
    if (passphrase_ask(NULL, "The same again: ", again, sizeof again) < 0)
        len = -1;
    else if (strcmp(pass, again)) {
        report_warning("the two passphrases differ");
        len = -1;
    }
    explicit_bzero(again, sizeof again);
    return len;
}

void passphrase_forget(void)
{
    explicit_bzero(&kept, sizeof kept);
}
