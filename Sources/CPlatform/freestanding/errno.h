/* <errno.h> where there is no C library: empty. The public headers ask for it on behalf of C programs; the engine takes its codes
   from platform.h, so that its object file is the same whatever the numbers are.  */
