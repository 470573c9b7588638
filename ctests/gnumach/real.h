/* real.h: read before every test source for the real kernel.

   A case of ctests/both runs twice here as well. _real: client 0 is the real kernel, which has mapped the pager, and further
   ones are scripted. _scripted: all are scripted, over the real kernel's ports and messages.  */

#define BOTH(test) \
    { .name = #test "_real", .test_func = test, .initial_state = (void *) &(enum mode) { MAPPED } }, \
    { .name = #test "_scripted", .test_func = test, .initial_state = (void *) &(enum mode) { SCRIPTED } }
