"""The text of an e-mail: its subject and body, without what gives the class away for the wrong reason.

All headers but the subject are dropped: they say which server collected the mail.  In this corpus nearly all
list mail is ham, so list tags in front of the subject and list footers go; so do e-mail addresses, which
name the collectors.  HTML becomes its text, MIME is decoded, attachments are dropped.
"""
import email
import email.policy
import html.parser
import re

MOST_CHARACTERS = 8000
FOOTER_LINES = 20

ADDRESS = re.compile(r"<?(?:mailto:)?[\w.+=/-]+@[\w-]+(?:\.[\w-]+)*>?")
LIST_TAG = re.compile(r"\[[\w .:'&+/-]{1,40}\]\s*")
RULE = re.compile(r"^\s*[_=~*-]{5,}(?:>|&gt;)?\s*$")
FEED_LINE = re.compile(r"^(?:URL|Date): .*$", re.M)  # news feeds turned into mail, all of them ham
LIST_LINE = re.compile(
    r"mailing list|mailman|listinfo|lists?\.\w|list maintainer|unsubscribe|subscri(?:be|ption)|yahoo! groups|"
    r"yahoogroups|groups\.yahoo|sponsored by|sponsor|thinkgeek|sourceforge|sf\.net|exmh|razor-users|"
    r"spamassassin|spam assassin|taint\.org|netnoteinc|xent\.com|linux\.ie|spambayes", re.I)


class HtmlText(html.parser.HTMLParser):
    """What a reader of a page sees."""

    SILENT = ("script", "style", "title", "head")

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts = []
        self.silent = 0

    def handle_starttag(self, tag, attrs):
        if tag in self.SILENT and tag != "head":
            self.silent += 1
        elif tag in ("br", "p", "div", "tr", "td", "li", "table", "h1", "h2", "h3"):
            self.parts.append("\n")

    def handle_endtag(self, tag):
        if tag in self.SILENT and tag != "head":
            self.silent = max(0, self.silent - 1)

    def handle_data(self, data):
        if not self.silent:
            self.parts.append(data)


def html_text(source):
    reader = HtmlText()
    try:
        reader.feed(source)
        reader.close()
    except (AssertionError, ValueError):  # html.parser gives up on some broken declarations
        return re.sub(r"<[^>]*>", " ", source)
    return "".join(reader.parts)


def part_text(part):
    payload = part.get_payload(decode=True) or b""
    try:
        text = payload.decode(part.get_content_charset() or "latin-1", errors="replace")
    except (LookupError, ValueError):  # a charset that does not exist
        text = payload.decode("latin-1")
    marked = part.get_content_subtype() == "html" or re.search(r"<html\b|<body\b", text, re.I)
    return html_text(text) if marked else text


def body(message):
    """The plain parts; the HTML ones when there is no plain part."""
    plain, marked = [], []
    for part in message.walk():
        if part.get_content_maintype() != "text" or part.get_filename():
            continue
        (marked if part.get_content_subtype() == "html" else plain).append(part_text(part))
    return "\n".join(p for p in (plain if any(t.strip() for t in plain) else marked))


def without_footers(text):
    """Drops what stands below a rule near the end, if it speaks of the list, and each such line."""
    lines = text.splitlines()
    for at in range(len(lines) - 1, max(-1, len(lines) - FOOTER_LINES), -1):
        if RULE.match(lines[at]) and LIST_LINE.search("\n".join(lines[at:])):
            lines = lines[:at]
    return "\n".join(line for line in lines if not LIST_LINE.search(line))


def decoded_subject(message):
    try:
        return str(email.header.make_header(email.header.decode_header(message.get("Subject", ""))))
    except (LookupError, ValueError, UnicodeError):
        return str(message.get("Subject", ""))


def clean(text):
    text = ADDRESS.sub(" ", text)
    text = "".join(c if c in "\n\t" or c.isprintable() else " " for c in text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def mail_text(raw):
    """(subject, text) of the bytes of an e-mail."""
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    subject = clean(LIST_TAG.sub("", decoded_subject(message)))
    text = clean(without_footers(FEED_LINE.sub("", body(message))))
    return subject, (subject + "\n\n" + text).strip()[:MOST_CHARACTERS]


def thread_of(subject):
    """The subject without reply marks, "" when it is too short to tell threads apart."""
    bare = re.sub(r"^(?:(?:re|fwd?|aw|sv)\s*(?:\[\d+\])?:\s*)+", "", subject.lower()).strip()
    return bare if len(bare.split()) >= 3 else ""
