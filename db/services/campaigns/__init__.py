"""Templates, the campaigns made of them, their plans, the texts of their steps, and time zones."""
