"""What services say to each other. Data and its codec only: no module here has behaviour of its own."""
