/* What the engine sees of Mach, of libports and of the translator, in one place for Swift's importer, and what
   C and Swift give each other.  The Mach API is the platform's own (<mach.h>).  */

#ifndef LIBPAGER_ENGINE_H
#define LIBPAGER_ENGINE_H

#include <mach.h>
#include <mach/memory_object.h>
#include <mach/notify.h>
#include <mach/vm_prot.h>

#include <hurd/pager.h>
#include <hurd/ports.h>
#include <pager/extensions.h>

#include "platform.h"

typedef struct pager *pager_t;

/* ---- Server routines, called by MIG's stubs (server.c compares these with MIG's own header) ---- */

kern_return_t _pager_S_memory_object_init(pager_t, mach_port_t control, mach_port_t name, vm_size_t page_size);
kern_return_t _pager_S_memory_object_terminate(pager_t, mach_port_t control, mach_port_t name);
kern_return_t _pager_S_memory_object_data_request(pager_t, mach_port_t control, vm_offset_t offset,
                                                  vm_size_t length, vm_prot_t desired_access);
kern_return_t _pager_S_memory_object_data_unlock(pager_t, mach_port_t control, vm_offset_t offset,
                                                 vm_size_t length, vm_prot_t desired_access);
kern_return_t _pager_S_memory_object_data_return(pager_t, mach_port_t control, vm_offset_t offset, vm_offset_t data,
                                                 mach_msg_type_number_t count, boolean_t dirty,
                                                 boolean_t kernel_copy);
kern_return_t _pager_S_memory_object_lock_completed(pager_t, mach_port_t control, vm_offset_t offset,
                                                    vm_size_t length);
kern_return_t _pager_S_memory_object_change_completed(pager_t, boolean_t may_cache,
                                                      memory_object_copy_strategy_t copy_strategy);

/* Weak: a translator may define its own.  The receive right NEW_MEMORY_OBJECT is the callee's, and so is the message's reference
   to CONTROL.  */
kern_return_t _pager_S_memory_object_copy(pager_t, mach_port_t control, vm_offset_t offset, vm_size_t length,
                                          mach_port_t new_memory_object);
kern_return_t _pager_S_memory_object_supply_completed(pager_t, mach_port_t control, vm_offset_t offset,
                                                      vm_size_t length, kern_return_t result,
                                                      vm_offset_t error_offset);

/* The pager for which the calling worker has a message (Swift).  */
pager_t pager_message_target(mach_port_t port);

/* Counts and logs a refusal on behalf of a C hook (Swift).  */
void pager_refuse_copy(pager_t);
void pager_refuse_supply_completed(pager_t);

/* ---- Messages to a client's control port ----

   MIG's stubs for mach.defs, but they do not wait for ever (send.c): after a time pager_send_given_up, or pager_send_lost where the port has
   died meanwhile, and then everything that the message carried is gone, as if it had been sent.  After any other error nothing was taken.  (send.c compares these with MIG's own header.)  */

kern_return_t pager_control_memory_object_ready(mach_port_t control, boolean_t may_cache,
                                                memory_object_copy_strategy_t copy_strategy);
kern_return_t pager_control_memory_object_data_supply(mach_port_t control, vm_offset_t offset, vm_offset_t data,
                                                      mach_msg_type_number_t count, boolean_t deallocate,
                                                      vm_prot_t lock_value, boolean_t precious, mach_port_t reply_to);
kern_return_t pager_control_memory_object_data_error(mach_port_t control, vm_offset_t offset, vm_size_t size,
                                                     kern_return_t error);
kern_return_t pager_control_memory_object_lock_request(mach_port_t control, vm_offset_t offset, vm_size_t size,
                                                       memory_object_return_t should_return, boolean_t should_flush,
                                                       vm_prot_t lock_value, mach_port_t reply_to);
kern_return_t pager_control_memory_object_change_attributes(mach_port_t control, boolean_t may_cache,
                                                            memory_object_copy_strategy_t copy_strategy,
                                                            mach_port_t reply_to);
kern_return_t pager_control_memory_object_destroy(mach_port_t control, kern_return_t reason);

extern const mach_msg_return_t pager_send_given_up, pager_send_lost;

/* Whether messages to CONTROL that would have to wait are given up at once.  Undone before the name goes.  */
void pager_send_hopeless(mach_port_t control, int is_hopeless);

/* The calling thread is going to wait in a send: if it is the last that receives, another must (Swift).  */
void pager_about_to_wait(void);

/* ---- Messages (server.c) ---- */

/* Receive one message from PORT_SET into BUFFER of SIZE bytes.  A message that could not be received whole (memory or names
   were short) counts as received.  A message that is larger stays queued:
   MACH_RCV_TOO_LARGE, and *NEEDED says how large it is.  LARGE 0: such a message is destroyed, and BUFFER gets
   its header.  LIMIT: milliseconds, 0: none.  */
mach_msg_return_t pager_receive(mach_msg_header_t *buffer, mach_msg_size_t size, mach_port_t port_set, int large,
                                mach_msg_timeout_t limit, mach_msg_size_t *needed);
extern const mach_msg_return_t pager_receive_too_large, pager_receive_timed_out;
/* mach_msg: the port is dead, or there is no such right.  */
extern const mach_msg_return_t pager_send_invalid_destination;

/* Give MESSAGE to the memory object server.  0: the id is not one of its own.  A message that the server refuses, or
   whose id nobody knows, has its rights and memory released by pager_finish_message.  */
int pager_serve_message(mach_msg_header_t *message, mach_msg_header_t *reply);
int pager_serve_notification(mach_msg_header_t *message, mach_msg_header_t *reply);
/* What the server said in REPLY; 0: well.  */
kern_return_t pager_reply_code(const mach_msg_header_t *reply);
void pager_finish_message(mach_msg_header_t *message, mach_msg_header_t *reply, int served);
/* MESSAGE's id and its sequence number.  (Where a message's fields lie the engine does not know.)  */
mach_msg_id_t pager_message_id(const mach_msg_header_t *message);
mach_port_seqno_t pager_message_number(const mach_msg_header_t *message);
/* 1: MESSAGE is a dead-name notification, *NAME gets the name; -1: it looks like one, but the name is not dead; 0: neither.  */
int pager_is_dead_name(const mach_msg_header_t *message, mach_port_t *name);

/* No message waits at PORT, and those that were received are numbered below TURN.  */
int pager_port_is_drained(mach_port_t port, mach_port_seqno_t turn);
/* The number that the next message to PORT will have, once those that wait have been received.  -1: there is no such port.  */
int pager_port_end(mach_port_t port, mach_port_seqno_t *end);

/* The number that the next message from PORT gets when it is received; NONE if there is no such port.  */
mach_port_seqno_t pager_port_next_number(mach_port_t port, mach_port_seqno_t none);

/* Send the message without content ID to PORT, of which the caller has the receive right.  Somebody counts on it: where memory
   is exhausted it is sent when there is some.  */
mach_msg_return_t pager_send_marker(mach_port_t port, mach_msg_id_t id);

/* The same, but gives up at once where the queue is full.  */
mach_msg_return_t pager_try_send_marker(mach_port_t port, mach_msg_id_t id);
/* A receive right in PORT_SET for markers.  */
kern_return_t pager_make_marker_port(mach_port_t port_set, mach_port_t *port);

/* Request a dead-name notification.  A right that was registered before is released.  */
kern_return_t pager_request_dead_name(mach_port_t name, mach_port_t notify);

/* The name's death is not to be announced any more.  Where memory is exhausted, waits until there is some.  0: nothing was to be
   announced, or it has been: then the notification, which may not be received yet, brought one reference of the dead name.  */
int pager_cancel_dead_name(mach_port_t name);

/* A proxy for the object with this send right, which stays the caller's; read-only and as large as can be.  */
kern_return_t pager_make_read_only_proxy(mach_port_t object, mach_port_t *proxy);

/* NAME is a send right with one reference and nothing else: nobody in our task had it before.  */
int pager_is_ours_alone(mach_port_t name);

/* NAME is a dead name.  */
int pager_is_dead(mach_port_t name);

/* NAME is a send right, of which the caller has a reference.  Gives the right the name WANTED, if NAME has no other reference: so no message that
   was received bears a name that the right has no more.  (mach_port_rename takes all references along.)  Returns the name under which the caller has
   his reference now: WANTED; or, where that could not be, NAME, or what name the port has got meanwhile.  MACH_PORT_DEAD: the port has died.
   MACH_PORT_NULL: there is no memory for a name, and the right is lost.  */
mach_port_t pager_rename_alone(mach_port_t name, mach_port_t wanted);

/* Give up one user reference of the receive right NAME.  */
void pager_drop_receive_right(mach_port_t name);

/* ---- libports (libports.c) ----

   The engine's object file knows nothing of the layout of libports' structures, so that it fits any system's.  */

/* This task's name for itself; the caller gets no reference.  */
mach_port_t pager_own_task(void);

/* The bytes that libports has for itself at the head of a port, rounded up to 16.  */
extern const size_t pager_port_head_bytes;
/* The name of the port's receive right; MACH_PORT_NULL once it is gone.  */
mach_port_t pager_port_of(void *port_info);
mach_port_t pager_bucket_port_set(const struct port_bucket *bucket);
/* From now on messages come for the port that ports_create_port_noinstall made.  */
kern_return_t pager_install_port(void *port_info, const struct port_bucket *bucket);
/* Destroy the receive right, if it is still there; the reference that it held is dropped.  */
void pager_destroy_right(void *port_info);

/* The port of BUCKET and CLASS that MESSAGE came to, with one more hard reference, or NULL.  */
void *pager_message_object(struct port_bucket *bucket, struct port_class *class, const mach_msg_header_t *message);
/* The name of the port that MESSAGE came to; MACH_PORT_NULL: it is neither a pager's nor one that we made ourselves.  */
mach_port_t pager_message_port(const mach_msg_header_t *message);

/* A message that is being served, for libports' inhibitions.  */
struct pager_call { uint64_t opaque[10]; };
/* MESSAGE to PORT begins to be served by this thread; waits while that is inhibited.  Not 0: PORT has no receive right any more.  */
int pager_begin_call(void *port, const mach_msg_header_t *message, struct pager_call *call);
void pager_end_call(void *port, struct pager_call *call);

#endif
