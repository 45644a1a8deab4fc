"""One self-contained web page that evaluates a functional image in the browser.

`page` puts the page together from the files in ``parts``; `encode` packs the function's arrays.
"""

from hyperfunc.export.page.page import check_page, export_html, fit_page, make_page

__all__ = ["check_page", "export_html", "fit_page", "make_page"]
