"""The write side of the contract: change sets as transactions, and what keeps writers apart."""
