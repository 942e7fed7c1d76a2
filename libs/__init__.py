"""What two or more services need today. Arrows: runtime → contracts → the pure modules beside this file."""
