"""The population study: the avatars, whose truth is known, judge the generators that draw them."""
