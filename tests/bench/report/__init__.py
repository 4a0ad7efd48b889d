"""What a run has measured, as data, tables, plots and a page. Nothing here measures, and nothing here judges.

`results` is the data and its JSON; `summary` makes medians and ranges of it; `tables` is Markdown; `svg` and `plots`
draw; `page` writes them into docs/explanation/performance.md. Called by `suite.py` and `compare.py`.
"""
