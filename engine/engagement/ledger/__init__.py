"""The ledger of one customer: lots of points, money and coupons, and every movement of them, double-entry."""
