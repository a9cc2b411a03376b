"""What each fact is edited to. A new builder: subclass ``components.TargetBuilder``."""
