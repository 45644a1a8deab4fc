"""hyperfunc: hypernetworks that turn an image into a continuous function.

    import hyperfunc

    f = hyperfunc.represent("photo.jpg")
    f.render(scale=3.7)

Names are imported when they are first used, so that ``import hyperfunc`` starts no backend.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
