"""What is due, who may have it, and what becomes of it: claims, reports, and why something is held back."""
