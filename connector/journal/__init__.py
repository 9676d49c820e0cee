"""What we were told, what we decided and what we did: small and transactional."""
