"""Export a functional image as a file (.hfn) or as a page for a browser, or a model as ONNX graphs.

File and page contain the parameters of the target networks, so that neither needs the hypernetwork.
"""

from hyperfunc.export.hfn import load_function, load_header, save_function
from hyperfunc.export.onnx import export_onnx
from hyperfunc.export.page import check_page, export_html, fit_page, make_page
from hyperfunc.export.studio import export_studio

__all__ = [
    "check_page",
    "export_html",
    "export_onnx",
    "export_studio",
    "fit_page",
    "load_function",
    "load_header",
    "make_page",
    "save_function",
]
