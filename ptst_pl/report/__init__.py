"""Report: tables, figures and a page from result files; needs no torch.

In: folders of results. Out: text, pictures, a page.
May import: judges' light parts, suites, templates and results.
"""
