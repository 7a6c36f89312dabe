"""What tests share: helpers, processes of their own, and contracts. No test module imports another."""
