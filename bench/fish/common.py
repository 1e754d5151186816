"""What the experiments of bench/fish share: running the programs, choosing learning rates on
validation data, means with their interval, Markdown tables, plots as SVG."""
import json
import math
import os
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SEEDS = (0, 1, 2, 3, 4)
TUNE_SEEDS = (100, 101, 102)  # learning rates are chosen with these, which no mean holds


class Bench:
    def __init__(self, build, data, work, threads):
        self.fmpatch = os.path.join(build, "tools", "fmpatch")
        self.fish = os.path.join(build, "tools", "fmpatch-fish")
        self.mask = os.path.join(build, "tools", "fmpatch-mask")
        self.data, self.work, self.threads = data, work, threads
        self.tune_seeds = TUNE_SEEDS
        os.makedirs(work, exist_ok=True)

    def path(self, *parts):
        p = os.path.join(self.work, *map(str, parts))
        os.makedirs(os.path.dirname(p), exist_ok=True)
        return p

    def run(self, *args):
        """Runs a program with --json; returns its object, with the seconds it took."""
        start = time.perf_counter()
        done = subprocess.run([str(a) for a in args] + ["--json", "-q"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit("%s\n%s" % (" ".join(map(str, args)), done.stderr))
        out = json.loads(done.stdout) if done.stdout.strip() else {}
        out["wall"] = time.perf_counter() - start
        return out

    def scores(self, base, data, seed, name, estimator="empirical", samples=1024, options=()):
        out = self.path(name + ".scores.safetensors")
        got = self.run(self.fish, "fisher", base, data, "-o", out, "-f", "--seed", seed, "--samples",
                       samples, "--estimator", estimator, "--threads", self.threads, *options)
        return out, got

    def select(self, scores, ratio, name, options=()):
        out = self.path(name + ".mask.fmp")
        args = [self.mask] + ([scores] if scores else [])
        got = self.run(*args, "--ratio", ratio, "-o", out, "-f", *options)
        return out, got

    def train(self, base, train, valid, name, seed, lr, steps, mask=None, options=()):
        out = self.path(name + ".fmp")
        what = ["--mask", mask] if mask else ["--full"]
        got = self.run(self.fish, "train", base, train, *(["--valid", valid] if valid else []), "-o", out,
                       "-f", "--seed", seed, "--lr", lr, "--steps", steps, "--threads", self.threads,
                       *what, *options)
        return out, got

    def evaluate(self, base, patches, test, options=()):
        return self.run(self.fish, "eval", base, *patches, test, "--allow-unsigned", "--threads",
                        self.threads, *options)["metrics"]

    def predictions(self, base, patches, test, options=()):
        """The predicted class of each example, by name."""
        done = subprocess.run([self.fish, "predict", base, *patches, test, "--allow-unsigned",
                               "--threads", str(self.threads), *map(str, options)],
                              stdout=subprocess.PIPE, text=True, check=True)
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    def best_lr(self, grid, try_one):
        """The learning rate with the best mean validation result; all means, for the record."""
        got = [(sum(try_one(lr, seed) for seed in self.tune_seeds) / len(self.tune_seeds), lr) for lr in grid]
        return max(got, key=lambda g: (g[0], -g[1]))[1], {str(lr): acc for acc, lr in got}


# Two-sided 95 % points of Student's t for 1 .. 9 degrees of freedom.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def mean_interval(xs):
    """The mean and half the width of its 95 % interval (Student's t)."""
    n = len(xs)
    mean = sum(xs) / n
    if n < 2:
        return mean, float("nan")
    sd = math.sqrt(sum((x - mean) ** 2 for x in xs) / (n - 1))
    return mean, T95[n - 2] * sd / math.sqrt(n)


def percent(xs):
    m, h = mean_interval(xs)
    return "%.2f ± %.2f" % (100 * m, 100 * h)


def table(header, rows):
    align = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(map(str, r)) + " |" for r in [header, align] + rows) + "\n"


def plot(path, title, x_label, y_label, series, log_x=True):
    """series: {name: [(x, y, half_interval)]}.  One self-contained SVG, light and dark."""
    w, h, left, right, top, bottom = 640, 380, 60, 130, 36, 50
    colors = ("#1668b8", "#c2571a", "#2a8a4a", "#8a4ab8", "#a08000", "#d04070", "#666666")
    xs = [p[0] for s in series.values() for p in s]
    ys = [p[1] + d * (0 if math.isnan(p[2]) else p[2]) for s in series.values() for p in s for d in (-1, 1)]
    fx = (lambda x: math.log10(x)) if log_x else (lambda x: x)
    x0, x1 = fx(min(xs)), fx(max(xs))
    y0, y1 = min(ys), max(ys)
    pad = 0.05 * (y1 - y0) or 0.01
    y0, y1 = y0 - pad, y1 + pad
    px = lambda x: left + (w - left - right) * ((fx(x) - x0) / ((x1 - x0) or 1))
    py = lambda y: h - bottom - (h - top - bottom) * (y - y0) / (y1 - y0)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" '
           'font-family="sans-serif" font-size="12"><title>%s</title>' % (w, h, title),
           "<style>:root{--ink:#222;--paper:#fff;--grid:#ddd}@media(prefers-color-scheme:dark){:root{"
           "--ink:#ddd;--paper:#181818;--grid:#444}}text{fill:var(--ink)}</style>",
           '<rect width="100%" height="100%" fill="var(--paper)"/>',
           '<text x="%d" y="20" text-anchor="middle" font-size="14">%s</text>' % ((w - right + left) // 2, title)]
    for i in range(5):
        y = y0 + (y1 - y0) * i / 4
        out.append('<path d="M%d %.1fH%d" stroke="var(--grid)"/><text x="%d" y="%.1f" text-anchor="end">%.3g</text>'
                   % (left, py(y), w - right, left - 6, py(y) + 4, y))
    for x in sorted(set(xs)):
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%g</text>' % (px(x), h - bottom + 18, x))
    for (name, points), color in zip(series.items(), colors):
        points = sorted(points)
        out.append('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>'
                   % (color, " ".join("%.1f,%.1f" % (px(p[0]), py(p[1])) for p in points)))
        for x, y, half in points:
            if not math.isnan(half):
                out.append('<path d="M%.1f %.1fV%.1f" stroke="%s"/>' % (px(x), py(y - half), py(y + half), color))
            out.append('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %g</title></circle>'
                       % (px(x), py(y), color, name, y))
        out.append('<text x="%d" y="%.1f" style="fill:%s">%s</text>'
                   % (w - right + 8, top + 16 * list(series).index(name) + 10, color, name))
    out.append('<text x="%d" y="%d" text-anchor="middle">%s</text>' % ((w - right + left) // 2, h - 10, x_label))
    out.append('<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text></svg>' % (h // 2, y_label))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
