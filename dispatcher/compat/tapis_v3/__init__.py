"""Tapis v3: its events, its notifications at /v3/notifications, and what is known of jobs at /v3/jobs.

Source: tapis-notifications 1.6.2 and its OpenAPI document 25Q4.0.
"""
