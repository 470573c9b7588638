/* threads.h - what a simulation may ask of the simulated threads (threads.c). */

#ifndef SIMULATION_THREADS_H
#define SIMULATION_THREADS_H

/* The (n+1)-th thread from now that the libraries start cannot be made, once; -1: all can. */
void threads_fail_start(long n);

#endif
