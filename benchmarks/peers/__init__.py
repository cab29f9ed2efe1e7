"""What the product is compared with, written as its authors' documentation has it."""
