"""The episodes in which a teacher's student of translation learns."""
