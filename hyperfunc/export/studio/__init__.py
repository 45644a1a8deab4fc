"""The studio: a static folder, a page in which any photograph becomes a function, in the browser.

`studio` puts the folder together: ``web`` with the parts of the exported page, the model as ONNX,
and the runtime from npm.
"""

from hyperfunc.export.studio.studio import export_studio

__all__ = ["export_studio"]
