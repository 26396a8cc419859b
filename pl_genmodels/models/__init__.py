"""The models, one package a family."""
