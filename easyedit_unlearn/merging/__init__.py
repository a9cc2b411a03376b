"""How samples become edit requests. A new merger: subclass ``components.QueryMerger``."""
