"""Hector Serverless: sessions that remember, answers that stream, on AWS Lambda and on a laptop."""

__version__ = "0.1.0"
