/* real.h: read before every test source for the real kernel.  A case of ctests/both runs once: client 0 is the real kernel.  */

#define BOTH(test) { .name = #test, .test_func = test, .initial_state = (void *) &(enum mode) { MAPPED } }
