"""The function of an image as a file (.hfn) and as a page for a browser.

Both hold the parameters of the target networks and need no hypernetwork.
"""

from hyperfunc.export.hfn import load_function, load_header, save_function
from hyperfunc.export.page import check_page, export_html, make_page

__all__ = [
    "check_page",
    "export_html",
    "load_function",
    "load_header",
    "make_page",
    "save_function",
]
