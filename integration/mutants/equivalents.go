package main

// equivalent is a mutant that behaves as the original does, so that no test can notice it.
type equivalent struct{ file, fn, change, why string }

var equivalents = []equivalent{}
