"""Knowledge editors as unlearners."""
