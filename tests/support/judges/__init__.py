"""What the judges of the protocol are given: servers, questions and a Node.js to run them."""
