/* Nothing to call: see strangers.c.  */
