/* What the files of the test program for the real kernel share.  */

#ifndef GNUMACH_RUNNER_H
#define GNUMACH_RUNNER_H

/* An area: one of the test programs of Linux; its main.  */
struct area {
    const char *name;
    int (*main)(void);
};
extern const struct area areas[];           /* made by CMake; ends with NULL */

/* Tests that make no sense on the real kernel, "area.test", and why.  */
struct skipped {
    const char *name, *reason;
};
extern const struct skipped skipped[];      /* skipped.c; ends with NULL */

/* A long test has come a step further: it does not hang.  */
void runner_goes_on(void);

/* mapped_gnumach.c: the name under which the pager has the real kernel's control port.  */
struct client;
unsigned mapped_control(struct client *);

/* hostmach_on_mach.c: if CONTROL is a scripted kernel's port: until it has executed what it was sent.  */
void wait_executed(unsigned control);

#endif
