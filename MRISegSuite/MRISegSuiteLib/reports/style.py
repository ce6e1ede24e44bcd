"""The look of the HTML report: light, printable, readable from 400 px width on."""

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f4f5f6; color: #1d2429;
       font: 15px/1.5 system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 20px 24px 40px; background: #fff; }
h1 { font-size: 1.6em; margin: 0 0 .2em; }
h2 { font-size: 1.15em; margin: 1.6em 0 .5em; }
h3 { font-size: 1em; margin: 1.2em 0 .3em; }
.device { margin: 0 0 1em; color: #5b6770; font-size: .92em; }
.warnings { border-left: 4px solid #d98a00; background: #fff7e6; padding: .6em 1em; margin: 1em 0; }
.warnings h2 { margin: 0 0 .3em; }
.warnings ul { margin: 0; padding-left: 1.2em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15em 1.2em; margin: .6em 0; }
dt { color: #5b6770; }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93em; }
th, td { padding: .3em .6em; border-bottom: 1px solid #e3e6e8; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; white-space: normal; min-width: 9em; font-weight: 400; }
thead th { border-bottom: 2px solid #9aa4ab; font-weight: 600 !important; vertical-align: bottom; }
small { color: #5b6770; font-weight: 400; }
tr.whole th, tr.whole td { font-weight: 600; }
figure { display: inline-block; vertical-align: top; margin: 1em 0; width: 100%; }
figure img { width: 100%; height: auto; display: block; border: 1px solid #e3e6e8; box-sizing: border-box; }
figure.half { width: 49%; }
figure.half + figure.half { margin-left: 1%; }
figcaption, .note { color: #5b6770; font-size: .9em; margin-top: .3em; }
.key { display: inline-block; margin-right: 1em; white-space: nowrap; }
.key i { display: inline-block; width: .9em; height: .9em; margin-right: .35em; border: 1px solid #0003;
         vertical-align: -.1em; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
details { margin: 1em 0; }
summary { cursor: pointer; color: #2b6298; }
pre { background: #f4f5f6; padding: .7em; overflow-x: auto; font-size: .85em; white-space: pre-wrap;
      overflow-wrap: anywhere; }
footer { margin-top: 2em; color: #5b6770; font-size: .85em; }
@media (max-width: 640px) {
  main { padding: 14px 12px 30px; }
  figure.half, figure.half + figure.half { width: 100%; margin-left: 0; }
  th, td { padding: .3em .4em; }
}
@media print {
  body { background: #fff; font-size: 12px; }
  main { max-width: none; padding: 0; }
  figure, tr, .warnings { break-inside: avoid; }
}
"""
