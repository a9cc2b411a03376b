"""The one set-up behind every door: sets, requests, the run, its rows and its result."""
