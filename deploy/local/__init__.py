"""A whole TokenOutput on one machine, without containers: private servers, a stand-in for the providers, the services.

Standard library only. Everything lives under the stack's run directory and listens on 127.0.0.1.
"""
