"""The parts of a page, as HTML without any resource from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1b1d22;--soft:#666c78;--line:#e3e4e8;
--accent:#2f6f9f;--bad:#b3261e;--good:#2c7a4b}
@media(prefers-color-scheme:dark){:root{--bg:#15171b;--card:#1d2026;--ink:#e8e9ec;--soft:#9aa1ae;
--line:#30343d;--accent:#6fb1e0;--bad:#ff8a80;--good:#7fd1a0}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.6 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1000px;margin:0 auto;padding:56px 28px 96px}
h1{font-size:28px;line-height:1.25;font-weight:650;letter-spacing:-.015em;margin:0 0 6px;
overflow-wrap:anywhere}
h2{font-size:19px;font-weight:620;letter-spacing:-.01em;margin:64px 0 6px}
h3{font-size:14px;font-weight:600;margin:28px 0 8px}
p{margin:6px 0 14px;max-width:72ch}
.sub,.note,.none,figcaption,.keys{color:var(--soft)}
.sub{overflow-wrap:anywhere}
.strip{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:1px;
margin:32px 0 8px;background:var(--card);border:1px solid var(--line);border-radius:10px;
overflow:hidden}
.strip div{box-shadow:0 0 0 1px var(--line);padding:16px 18px}
.strip b{display:block;white-space:nowrap;font-size:21px;line-height:1.25;font-weight:620;
letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.strip span{color:var(--soft);font-size:12.5px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:7px 14px 7px 0;border-bottom:1px solid var(--line);
vertical-align:top}
th{font-weight:550;color:var(--soft);white-space:nowrap}
td{overflow-wrap:anywhere}
.numbers td:not(:first-child),.numbers th:not(:first-child){text-align:right;padding-right:0;
padding-left:14px;white-space:nowrap}
.facts th{width:190px}
.scroll+.scroll{margin-top:22px}
details{margin:14px 0}
summary{cursor:pointer;color:var(--accent)}
.row{display:grid;gap:14px;margin:22px 0 26px;align-items:start}
.row.n2{grid-template-columns:1fr 1fr}.row.n3{grid-template-columns:1fr 1fr 1fr}
.row figure{margin:0}
.row p{grid-column:1/-1;margin:-10px 0 0;font-size:12.5px}
img{display:block;width:100%;height:auto;border-radius:6px;background:#000}
.n1 img{width:auto;max-width:100%;margin:0 auto}
figcaption{font-size:12.5px;margin-top:5px}
svg{width:100%;height:auto;display:block;font-size:11px;overflow:visible}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:36px;margin-top:18px}
@media(max-width:720px){.pair,.row.n2,.row.n3{grid-template-columns:1fr}main{padding:32px 18px}}
svg text{fill:var(--soft)}svg .grid{stroke:var(--line)}svg .bar{fill:var(--accent)}
svg .mark{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:4 3}
.k0{fill:#7f8c9b;background:#7f8c9b}.k1{fill:#d9a441;background:#d9a441}
.k2{fill:#3f83b8;background:#3f83b8}.k3{fill:#3f9e74;background:#3f9e74}
.k4{fill:#b8619c;background:#b8619c}.k5{fill:#cf6a4c;background:#cf6a4c}
.k8{fill:#4aa3a8;background:#4aa3a8}
.k6{fill:#7e6cc4;background:#7e6cc4}.k7{fill:#6a9f3d;background:#6a9f3d}
.keys{font-size:12.5px}.keys span{margin-right:18px;white-space:nowrap}
.keys i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;
vertical-align:-1px}
.bad{color:var(--bad)}.good{color:var(--good)}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
footer{margin-top:72px;padding-top:16px;border-top:1px solid var(--line);color:var(--soft);
font-size:13px}
@media print{h2{break-after:avoid}.row{break-inside:avoid}}
"""


def page(title: str, body: Sequence[str]) -> str:
    """Whole page; `body` holds its parts as HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str, note: str = "") -> str:
    """Heading of a part, with a sentence below it."""
    return f"<h2>{escape(text)}</h2>" + (f'<p class="note">{escape(note)}</p>' if note else "")


def strip(numbers: Sequence[tuple[str, str]]) -> str:
    """Key numbers: value and what it is."""
    cells = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in numbers
    )
    return f'<div class="strip">{cells}</div>'


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns: what, and its value."""
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<div class="scroll"><table class="facts">{cells}</table></div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    """Table with a head; all columns but the first hold numbers, unless told otherwise."""
    kind = ' class="numbers"' if numbers else ""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    cells = "".join(
        "<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{top}</tr></thead>'
        f"<tbody>{cells}</tbody></table></div>"
    )


def folded(summary: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def pictures(sources: Sequence[str], names: Sequence[str], caption: str) -> str:
    """Pictures side by side; `sources` are URLs, `names` say what each shows."""
    figures = "".join(
        f'<figure><img src="{source}" alt="{escape(name or "Picture")}: {escape(caption)}">'
        + (f"<figcaption>{escape(name)}</figcaption></figure>" if name else "</figure>")
        for source, name in zip(sources, names, strict=True)
    )
    text = f'<p class="note">{escape(caption)}</p>'
    return f'<div class="row n{len(sources)}">{figures}{text}</div>'


def pair(*drawings: tuple[str, str]) -> str:
    """Two drawings side by side, or one, each with a title."""
    cells = "".join(f"<div><h3>{escape(title)}</h3>{svg}</div>" for title, svg in drawings)
    return f'<div class="pair">{cells}</div>'
