"""What the model says before and after. One shared pass makes observations; every metric reads those."""
