"""The pluggy hooks, and what loads whoever implements them."""
