"""Options, and the settings they make."""
