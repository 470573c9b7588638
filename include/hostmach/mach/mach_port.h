/* <mach/mach_port.h>: operations on names and rights.

   The prototypes are those that MIG makes from mach_port.defs (a build check compares them); that file
   says what each call does. All take effect at once, on the task that `task` names. Errors: KERN_INVALID_TASK, KERN_INVALID_NAME
   (no such name), KERN_INVALID_RIGHT (the name is not such a right), KERN_INVALID_VALUE (an argument out of range),
   KERN_NAME_EXISTS, KERN_RIGHT_EXISTS, KERN_NOT_IN_SET, KERN_INVALID_CAPABILITY, KERN_UREFS_OVERFLOW, KERN_NO_SPACE,
   KERN_RESOURCE_SHORTAGE. Giving up a right may send a notification; if that goes to a port with a
   handler (see hostmach.h), the handler runs in this thread before the call returns. */

#ifndef HOSTMACH_MACH_PORT_H
#define HOSTMACH_MACH_PORT_H

#include <mach/kern_return.h>
#include <mach/mach_types.h>
#include <mach/message.h>
#include <mach/port.h>
#include <mach/std_types.h>

#ifdef __cplusplus
extern "C" {
#endif


/* Names and types of all rights of the task, in two vm_allocate'd arrays that the caller releases. */
extern kern_return_t mach_port_names (mach_port_t task, mach_port_name_array_t *names,
                                      mach_msg_type_number_t *namesCnt, mach_port_type_array_t *types,
                                      mach_msg_type_number_t *typesCnt);
extern kern_return_t mach_port_type (mach_port_t task, mach_port_name_t name, mach_port_type_t *ptype);
extern kern_return_t mach_port_rename (mach_port_t task, mach_port_name_t old_name, mach_port_name_t new_name);
extern kern_return_t mach_port_allocate_name (mach_port_t task, mach_port_right_t right, mach_port_name_t name);
extern kern_return_t mach_port_allocate (mach_port_t task, mach_port_right_t right, mach_port_name_t *name);
extern kern_return_t mach_port_destroy (mach_port_t task, mach_port_name_t name);
extern kern_return_t mach_port_deallocate (mach_port_t task, mach_port_name_t name);
extern kern_return_t mach_port_get_refs (mach_port_t task, mach_port_name_t name, mach_port_right_t right,
                                         mach_port_urefs_t *refs);
extern kern_return_t mach_port_mod_refs (mach_port_t task, mach_port_name_t name, mach_port_right_t right,
                                         mach_port_delta_t delta);
extern kern_return_t mach_port_set_qlimit (mach_port_t task, mach_port_name_t name, mach_port_msgcount_t qlimit);
extern kern_return_t mach_port_set_mscount (mach_port_t task, mach_port_name_t name, mach_port_mscount_t mscount);

/* *members: a vm_allocate'd array that the caller releases. */
extern kern_return_t mach_port_get_set_status (mach_port_t task, mach_port_name_t name,
                                               mach_port_name_array_t *members, mach_msg_type_number_t *membersCnt);
extern kern_return_t mach_port_move_member (mach_port_t task, mach_port_name_t member, mach_port_name_t after);

/* notify: a name of the current task, taken as notifyPoly says (MAKE_SEND_ONCE or MOVE_SEND_ONCE);
   MACH_PORT_NULL cancels. *previous: the send-once right that was registered before, or MACH_PORT_NULL. */
extern kern_return_t mach_port_request_notification (mach_port_t task, mach_port_name_t name, mach_msg_id_t id,
                                                     mach_port_mscount_t sync, mach_port_t notify,
                                                     mach_msg_type_name_t notifyPoly, mach_port_t *previous);

/* poly: a name of the current task, taken as polyPoly says; lost when the call fails. */
extern kern_return_t mach_port_insert_right (mach_port_t task, mach_port_name_t name, mach_port_t poly,
                                             mach_msg_type_name_t polyPoly);
extern kern_return_t mach_port_extract_right (mach_port_t task, mach_port_name_t name, mach_msg_type_name_t msgt_name,
                                              mach_port_t *poly, mach_msg_type_name_t *polyPoly);
extern kern_return_t mach_port_get_receive_status (mach_port_t task, mach_port_name_t name,
                                                   mach_port_status_t *status);
extern kern_return_t mach_port_set_seqno (mach_port_t task, mach_port_name_t name, mach_port_seqno_t seqno);
extern kern_return_t mach_port_set_protected_payload (mach_port_t task, mach_port_name_t name, natural_t payload);
extern kern_return_t mach_port_clear_protected_payload (mach_port_t task, mach_port_name_t name);

#ifdef __cplusplus
}
#endif

#endif
