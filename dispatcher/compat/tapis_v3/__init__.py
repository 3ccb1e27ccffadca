"""Tapis v3: its events, and its notifications at /v3/notifications.

Source: tapis-notifications 1.6.2 and its OpenAPI document 25Q4.0.
"""
