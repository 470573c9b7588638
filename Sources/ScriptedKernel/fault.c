/* fault.c - threads of the scripted machine touching memory.

   A touch is a loop: look at the page, send what is missing, wait for a change.  What is missing is
   noted in the page (requested, unlocking) before the lock is given up, so of several threads one
   sends and all wait.

   Guarantee: a touch ends when the page allows the access, when the request it made or joined
   ends with an error, or when the object dies. */

#include <string.h>

#include "internal.h"

/* With the lock held: send data_request for an absent page.  Gives the lock up meanwhile. */
static int request(struct sk_object *object, struct sk_page *page, vm_prot_t access)
{
    if (!sk_begin(object))
        return object->dead != 0 ? object->dead : KERN_TERMINATED;
    page->state = SK_PAGE_REQUESTED;
    page->requested = access;
    pthread_mutex_unlock(&object->lock);
    int err = sk_send_page_message(object, SK_DATA_REQUEST, page->offset, access);
    pthread_mutex_lock(&object->lock);
    sk_end(object);
    if (err != 0 && page->state == SK_PAGE_REQUESTED)
        sk_page_fail(object, page, err);
    return err;
}

/* With the lock held: send data_unlock for a present page whose lock forbids ACCESS. */
static int unlock(struct sk_object *object, struct sk_page *page, vm_prot_t access)
{
    if (!sk_begin(object))
        return object->dead != 0 ? object->dead : KERN_TERMINATED;
    page->unlocking |= access;
    vm_prot_t all = page->unlocking;
    pthread_mutex_unlock(&object->lock);
    int err = sk_send_page_message(object, SK_DATA_UNLOCK, page->offset, all);
    pthread_mutex_lock(&object->lock);
    sk_end(object);
    if (err != 0 && page->state == SK_PAGE_PRESENT)
        page->unlocking = 0;
    return err;
}

/* With the lock held: return with the lock held and the page allowing ACCESS, or an error. */
static int touch(struct sk_object *object, struct sk_page *page, vm_prot_t access)
{
    struct sk_wait wait;
    unsigned errors = page->errors;
    int err;

    sk_wait_begin(&wait, 0, access & VM_PROT_WRITE ? "a write fault" : "a read fault",
                  page->offset);
    for (;;) {
        if (object->dead != 0)
            return object->dead;
        if (page->errors != errors)
            return page->last_error;
        if (page->busy) {
            sk_wait_step(object, &wait);
            continue;
        }
        switch (page->state) {
        case SK_PAGE_ABSENT:
            err = request(object, page, access);
            if (err != 0)
                return err;
            continue;           /* the answer may be here already */
        case SK_PAGE_REQUESTED:
            break;
        case SK_PAGE_PRESENT:
            if (!(page->lock & access))
                return 0;
            if ((page->unlocking & access) == access)
                break;
            err = unlock(object, page, access);
            if (err != 0)
                return err;
            continue;
        }
        sk_wait_step(object, &wait);
    }
}

enum copy { COPY_OUT, COPY_IN };

/* Copy between BUFFER and the object page by page; FAULT: make each page usable first. */
static int copy_pages(struct sk_object *object, vm_offset_t offset, unsigned char *buffer,
                      size_t length, enum copy direction, bool fault)
{
    vm_prot_t access = direction == COPY_IN ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ;
    int err = 0;

    pthread_mutex_lock(&object->lock);
    while (length != 0) {
        vm_offset_t within = offset % vm_page_size;
        size_t bytes = vm_page_size - within < length ? vm_page_size - within : length;
        struct sk_page *page = sk_page_get(object, offset - within);
        if (fault) {
            err = touch(object, page, access);
        } else if (page->state != SK_PAGE_PRESENT || page->busy) {
            err = ENOENT;
        } else if (direction == COPY_IN && (page->lock & access)) {
            err = EACCES;
        }
        if (err != 0)
            break;
        if (direction == COPY_IN) {
            memcpy(page->data + within, buffer, bytes);
            page->dirty = true;
        } else {
            memcpy(buffer, page->data + within, bytes);
        }
        offset += bytes;
        buffer += bytes;
        length -= bytes;
    }
    pthread_mutex_unlock(&object->lock);
    return err;
}

int sk_read(sk_object *object, vm_offset_t offset, void *buffer, size_t length)
{
    return copy_pages(object, offset, buffer, length, COPY_OUT, true);
}

int sk_write(sk_object *object, vm_offset_t offset, const void *buffer, size_t length)
{
    return copy_pages(object, offset, (unsigned char *)buffer, length, COPY_IN, true);
}

int sk_peek(sk_object *object, vm_offset_t offset, void *buffer, size_t length)
{
    return copy_pages(object, offset, buffer, length, COPY_OUT, false);
}

int sk_poke(sk_object *object, vm_offset_t offset, const void *buffer, size_t length)
{
    return copy_pages(object, offset, (unsigned char *)buffer, length, COPY_IN, false);
}

int sk_request(sk_object *object, vm_offset_t offset, vm_prot_t access)
{
    int err;

    pthread_mutex_lock(&object->lock);
    struct sk_page *page = sk_page_get(object, offset);
    if (object->dead != 0)
        err = object->dead;
    else if (page->busy)
        err = EBUSY;
    else if (page->state == SK_PAGE_REQUESTED)
        err = EALREADY;
    else if (page->state == SK_PAGE_PRESENT)
        err = EEXIST;
    else
        err = request(object, page, access);
    pthread_mutex_unlock(&object->lock);
    return err;
}

int sk_unlock(sk_object *object, vm_offset_t offset, vm_prot_t access)
{
    int err;

    pthread_mutex_lock(&object->lock);
    struct sk_page *page = sk_page_get(object, offset);
    if (object->dead != 0)
        err = object->dead;
    else if (page->busy)
        err = EBUSY;
    else if (page->state != SK_PAGE_PRESENT)
        err = ENOENT;
    else if (!(page->lock & access))
        err = EEXIST;
    else if ((page->unlocking & access) == access)
        err = EALREADY;
    else
        err = unlock(object, page, access);
    pthread_mutex_unlock(&object->lock);
    return err;
}
