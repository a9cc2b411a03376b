"""Results for people: a terminal table, Markdown, and one self-contained HTML page."""
