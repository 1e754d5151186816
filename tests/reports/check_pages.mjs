/*
 * Opens pages from file:// in headless Chromium and holds them to what a reader must get:
 *
 *   node check_pages.mjs MODULES DIR [--shots OUT]
 *
 * MODULES is a folder with node_modules; DIR holds the pages; CHROMIUM names the browser.  No message on
 * the console, no request but for the page itself, no fault found by axe-core in either theme and width,
 * all text there without script, no label over another, numbers readable on their colour, nothing folded
 * or cut off on paper.  --shots leaves pictures to look at.  The last line is 'N passed, N failed'.
 */
import { createRequire } from 'node:module';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, folder, , shots] = process.argv.slice(2);
const require = createRequire(path.resolve(modules, 'x.js'));
const { chromium } = require('playwright-core');
const axe = require('axe-core');

const LOOKS = [
    { name: 'light-1400', width: 1400, colorScheme: 'light' },
    { name: 'dark-800', width: 800, colorScheme: 'dark' },
    { name: 'light-400', width: 400, colorScheme: 'light' },
];

/* Runs in the page: labels of one picture that lie over each other or outside of it. */
function findOverlaps() {
    const faults = [];
    for (const svg of document.querySelectorAll('svg')) {
        const frame = svg.getBoundingClientRect();
        const boxes = [...svg.querySelectorAll('text')]
            .map((t) => ({ text: t.textContent, slanted: !!t.closest('[transform]'), ...rectOf(t) }));
        for (const b of boxes) {
            if (b.left < frame.left - 2 || b.right > frame.right + 2 || b.top < frame.top - 2 ||
                b.bottom > frame.bottom + 2)
                faults.push(`"${b.text}" leaves its picture`);
        }
        for (const box of svg.querySelectorAll('.box')) {
            const r = box.querySelector('rect').getBoundingClientRect();
            for (const t of box.querySelectorAll('text')) {
                const at = t.getBoundingClientRect();
                if (at.left < r.left || at.right > r.right || at.top < r.top || at.bottom > r.bottom)
                    faults.push(`"${t.textContent}" leaves its box`);
            }
        }
        const level = boxes.filter((b) => !b.slanted).sort((a, b) => a.left - b.left);
        level.forEach((a, i) => {
            for (let k = i + 1; k < level.length && level[k].left < a.right - 1; k++) {
                const b = level[k];
                const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (high > 0.35 * Math.min(a.bottom - a.top, b.bottom - b.top))
                    faults.push(`"${a.text}" and "${b.text}" overlap`);
            }
        });
    }
    function rectOf(t) {
        const r = t.getBoundingClientRect();
        return { left: r.left, right: r.right, top: r.top, bottom: r.bottom };
    }
    return faults.slice(0, 5);
}

/* Runs in the page: the contrast of text in pictures with what it stands on (WCAG 2.2, 1.4.3). */
function findPaleLabels() {
    const rgb = (s) => (s.match(/[\d.]+/g) || []).slice(0, 3).map(Number);
    const light = (s) => rgb(s)
        .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const paper = getComputedStyle(document.body).backgroundColor;
    const faults = new Set();
    for (const text of document.querySelectorAll('svg text')) {
        const rect = text.parentNode.localName === 'g' ? text.parentNode.querySelector(':scope > rect') : null;
        const fill = rect ? getComputedStyle(rect).fill : paper;
        const back = light(fill === 'none' ? paper : fill), front = light(getComputedStyle(text).fill);
        const contrast = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
        if (contrast < 4.5)
            faults.add(`contrast ${contrast.toFixed(2)} in class "${text.parentNode.getAttribute('class')}"`);
    }
    return [...faults];
}

/* Runs in the page, with the media of paper. */
function findUnprinted() {
    const faults = [];
    if (getComputedStyle(document.querySelector('nav')).display !== 'none')
        faults.push('links are printed');
    if (document.documentElement.scrollWidth > innerWidth)
        faults.push('wider than the paper');
    for (const box of document.querySelectorAll('.scroll:not(.wide)')) {
        if (!box.getBoundingClientRect().height || box.scrollHeight > box.clientHeight + 1)
            faults.push(`"${box.getAttribute('aria-label')}" is not printed whole`);
    }
    if (getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)')
        faults.push('the paper is not white');
    return faults.slice(0, 5);
}

/* A page in a window of its own; what it says and asks for is collected. */
async function open(browser, url, options, watched) {
    const context = await browser.newContext(options);
    context.on('request', (request) => watched.requests.push(request.url()));
    context.on('console', (message) => watched.said.push(message.text()));
    context.on('weberror', (error) => watched.said.push(String(error.error())));
    const page = await context.newPage();
    await page.goto(url);
    return { context, page };
}

async function look(browser, url, name, how, faults, watched) {
    const { context, page } = await open(browser, url,
        { viewport: { width: how.width, height: 900 }, colorScheme: how.colorScheme }, watched);
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth))
        faults.push(`${how.name}: wider than the window`);
    for (const find of [findOverlaps, findPaleLabels]) {
        for (const fault of await page.evaluate(find))
            faults.push(`${how.name}: ${fault}`);
    }
    if (shots) {
        const whole = await page.evaluate(() => document.documentElement.scrollHeight < 9000);
        await page.screenshot({ path: path.join(shots, `${name}-${how.name}.png`), fullPage: whole });
    }
    await context.close();
}

/* axe-core's script is let in for the audit alone. */
async function audit(browser, url, how, faults) {
    const { context, page } = await open(browser, url,
        { viewport: { width: how.width, height: 900 }, colorScheme: how.colorScheme, bypassCSP: true },
        { requests: [], said: [] });
    await page.evaluate(() => document.querySelectorAll('details').forEach((d) => { d.open = true; }));
    await page.addScriptTag({ content: axe.source });
    const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    for (const v of result.violations)
        faults.push(`${how.name}: axe ${v.id}: ${v.nodes[0].html.slice(0, 120)}`);
    await context.close();
}

async function withoutScript(browser, url, faults, watched) {
    const { context, page } = await open(browser, url, { javaScriptEnabled: false }, watched);
    const text = await page.locator('main').innerText();
    const headings = await page.locator('h1, h2, h3').count();
    if (text.length < 200 || headings < 5)
        faults.push(`without script: ${text.length} characters, ${headings} headings`);
    for (const svg of await page.getByRole('img').all()) {
        if (!await svg.locator('> title').count() || !await svg.locator('> desc').count())
            faults.push('a picture has no title or description');
    }
    await context.close();
}

async function onPaper(browser, url, name, faults, watched) {
    const { context, page } = await open(browser, url, { viewport: { width: 688, height: 1000 }, colorScheme: 'dark' }, watched); /* A4 within its margins */
    await page.emulateMedia({ media: 'print' });
    for (const fault of await page.evaluate(findUnprinted))
        faults.push(`print: ${fault}`);
    if (shots)
        await page.screenshot({ path: path.join(shots, `${name}-paper.png`), fullPage: name !== 'many' });
    const pdf = await page.pdf({ format: 'A4' });
    if (pdf.subarray(0, 5).toString() !== '%PDF-' || pdf.length < 5000)
        faults.push('print: no pages');
    await context.close();
}

/* What is on these pages is on no other; the rest is looked at in one way only. */
const THOROUGH = ['task-base', 'hostile', 'many', 'overlap-2', 'overlap-8', 'overlap-40', 'overlap-hostile'];

/* axe-core takes long over large tables; what these hold is on smaller pages too. */
const AUDITS = { many: 1, 'overlap-40': 1, 'overlap-many': 0 };

async function check(browser, file) {
    const url = pathToFileURL(file).href, name = path.basename(file, '.html');
    const faults = [], watched = { requests: [], said: [] };
    const looks = THOROUGH.includes(name) ? LOOKS : LOOKS.slice(1, 2);
    for (const how of looks)
        await look(browser, url, name, how, faults, watched);
    for (const how of looks.slice(0, AUDITS[name] ?? 2))
        await audit(browser, url, how, faults);
    await withoutScript(browser, url, faults, watched);
    await onPaper(browser, url, name, faults, watched);
    for (const request of watched.requests.filter((r) => r !== url))
        faults.push(`request: ${request}`);
    if (watched.requests.length !== looks.length + 2)
        faults.push(`${watched.requests.length} requests for ${looks.length + 2} visits`);
    for (const said of watched.said)
        faults.push(`console: ${said}`);
    return faults;
}

async function main() {
    if (shots)
        mkdirSync(shots, { recursive: true });
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    });
    let passed = 0, failed = 0;
    for (const file of readdirSync(folder).filter((f) => f.endsWith('.html')).sort()) {
        const start = Date.now();
        const faults = await check(browser, path.join(folder, file));
        faults.length ? failed++ : passed++;
        console.log(`${faults.length ? 'FAIL' : 'ok'} ${file}, ${((Date.now() - start) / 1000).toFixed(1)} s`);
        faults.slice(0, 20).forEach((f) => console.log(`  ${f}`));
    }
    await browser.close();
    console.log(`${passed} passed, ${failed} failed`);
    process.exitCode = failed || !passed ? 1 : 0;
}

await main();
