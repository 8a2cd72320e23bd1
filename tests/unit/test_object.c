/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of core/object.h and the objects that need no machine */
#include "core/object.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/iothread.h"
#include "core/memory_backend.h"
#include "io/entropy.h"
#include "io/secret.h"
#include "tests/unit/unit.h"

static Objects *set;

static Object *make(const char *text)
{
    Error err = {0};
    Object *o = object_new_text(set, text, &err);

    ck_assert_msg(o != NULL, "%s: %s", text, err.msg);
    return o;
}

static void refused(const char *text, const char *why)
{
    Error err = {0};

    ck_assert_msg(!object_new_text(set, text, &err), "%s was taken", text);
    ck_assert_msg(strstr(err.msg, why) != NULL, "%s: %s", text, err.msg);
}

START_TEST(objects_are_made_found_and_deleted)
{
    Error err = {0};
    Object *o;

    set = objects_new();
    o = make("secret,id=s,data=x");
    ck_assert_ptr_eq(object_find(set, "s", NULL, &err), o);
    ck_assert_ptr_eq(object_find(set, "s", "secret", &err), o);
    ck_assert_ptr_eq(object_find(set, "s", "secret_common", &err), o);
    ck_assert_ptr_null(object_find(set, "s", "iothread", &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "is not a iothread object"));
    ck_assert_ptr_null(object_find(set, "t", "secret", &err));
    ck_assert_str_eq(err.msg, "No secret with id 't'");
    object_use(o);
    ck_assert(!object_delete(set, "s", &err));
    ck_assert_str_eq(err.msg, "object 's' is in use, can not be deleted");
    object_unuse(o);
    ck_assert(object_delete(set, "s", &err));
    ck_assert(!object_delete(set, "s", &err));
    ck_assert_str_eq(err.msg, "object 's' not found");
    objects_free(set);
}
END_TEST

START_TEST(what_is_wrong_is_refused_by_name)
{
    set = objects_new();
    refused("bogus,id=a", "invalid object type: bogus");
    refused("secert,id=a", "did you mean secret?");
    refused("secret,data=x", "Parameter 'id' is missing");
    refused("secret,id=1,data=x", "expects an identifier");
    refused("secret,id=a", "Either 'file' or 'data' must be provided");
    refused("secret,id=a,data=x,file=y", "mutually exclusive");
    refused("secret,id=a,data=x,bogus=1", "Invalid parameter 'bogus'");
    refused("secret,id=a,data=x,format=hex", "'format' cannot be 'hex'");
    refused("secret,id=a,file=/nowhere", "Unable to read /nowhere");
    make("secret,id=a,data=x");
    refused("secret,id=a,data=x", "Duplicate ID 'a' for object");
    objects_free(set);
}
END_TEST

static void secret_is(const char *id, const char *want)
{
    Error err = {0};
    char *text = secret_get_text(set, id, &err);

    ck_assert_msg(text != NULL, "%s", err.msg);
    ck_assert_str_eq(text, want);
    secret_free(text, strlen(text));
}

START_TEST(secrets_come_from_text_files_and_ciphertext)
{
    char path[] = "/tmp/test_object.XXXXXX";
    int fd = mkstemp(path);
    AUTO_FREE char *text = xasprintf("secret,id=f,file=%s", path);

    set = objects_new();
    ck_assert_int_eq(write(fd, "from a file", 11), 11);
    close(fd);
    make(text);
    unlink(path);
    secret_is("f", "from a file");
    make("secret,id=b,data=aGVsbG8=,format=base64");
    secret_is("b", "hello");
    refused("secret,id=c,data=???,format=base64", "Base64 data is not valid");
    make("{\"qom-type\":\"secret\",\"id\":\"j\",\"data\":\"json, text\"}");
    secret_is("j", "json, text");
    /* printf 123456 | openssl enc -aes-256-cbc -a -K 00010203... -iv 000102... */
    make("secret,id=key,format=base64,data=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    refused("secret,id=x,keyid=key,format=base64,data=AAAA", "IV is required");
    refused("secret,id=x,keyid=b,iv=AAECAwQFBgcICQoLDA0ODw==,format=base64,"
            "data=AAAAAAAAAAAAAAAAAAAAAA==",
            "Key should be 32 bytes");
    if (tls_is_built()) {
        make("secret,id=x,keyid=key,iv=AAECAwQFBgcICQoLDA0ODw==,format=base64,data="
             "ZAETodKTx4svTYAmaIyeXg==");
        secret_is("x", "123456");
    }
    objects_free(set);
}
END_TEST

START_TEST(access_lists_admit_by_the_first_rule)
{
    Error err = {0};

    set = objects_new();
    make("authz-simple,id=one,identity=fred");
    ck_assert(authz_admits(set, "one", "fred", &err));
    ck_assert(!authz_admits(set, "one", "bob", &err));
    make("authz-list,id=l,rules.0.match=fred,rules.0.policy=allow,rules.1.match=dan*,"
         "rules.1.policy=deny,rules.1.format=glob,policy=allow");
    ck_assert(authz_admits(set, "l", "fred", &err));
    ck_assert(!authz_admits(set, "l", "daniel", &err));
    ck_assert(authz_admits(set, "l", "bob", &err));
    ck_assert(authz_admits(set, NULL, "bob", &err));
    ck_assert(!authz_admits(set, "nope", "bob", &err));
    objects_free(set);
}
END_TEST

START_TEST(memory_backends_are_mapped_and_used_once)
{
    const HostMemory *m;
    Error err = {0};
    char path[] = "/tmp/test_object.XXXXXX";
    int fd = mkstemp(path);
    AUTO_FREE char *text = xasprintf("memory-backend-file,id=f,size=1M,mem-path=%s,share=on", path);
    char byte = 0;

    set = objects_new();
    make("memory-backend-ram,id=r,size=4M,prealloc=on");
    make("memory-backend-memfd,id=m,size=1M");
    make(text);
    m = memory_backend_use(set, "r", &err);
    ck_assert(m && m->size == 4 * MIB && m->fd == -1);
    m->host[4 * MIB - 1] = 1;
    ck_assert_ptr_null(memory_backend_use(set, "r", &err));
    ck_assert_str_eq(err.msg, "memory backend 'r' is used multiple times");
    ck_assert(!object_delete(set, "r", &err));
    memory_backend_unuse(set, "r");
    ck_assert(object_delete(set, "r", &err));
    m = memory_backend_use(set, "m", &err);
    ck_assert(m && m->share && m->fd >= 0);
    m = memory_backend_use(set, "f", &err);
    m->host[5] = 'x';
    ck_assert_int_eq(pread(fd, &byte, 1, 5), 1);
    ck_assert_int_eq(byte, 'x');
    refused("memory-backend-ram,id=z", "can't create backend with size 0");
    refused("memory-backend-file,id=z,size=1M", "mem-path property not set");
    refused("memory-backend-file,id=z,size=1M,mem-path=/nowhere/x",
            "can't open backing store /nowhere/x");
    refused("memory-backend-ram,id=z,size=1M,policy=bind", "host-nodes must be set");
    objects_free(set);
    close(fd);
    unlink(path);
}
END_TEST

static void note_thread(void *arg)
{
    *(pthread_t *)arg = pthread_self();
}

START_TEST(iothreads_run_their_loop)
{
    pthread_t other = pthread_self();
    IoThread *t;
    Error err = {0};

    set = objects_new();
    make("iothread,id=io0,poll-max-ns=0");
    t = iothread_use(set, "io0", &err);
    ck_assert_ptr_nonnull(t);
    ck_assert_int_ne(iothread_tid(t), 0);
    ck_assert_int_ne(iothread_tid(t), getpid());
    iothread_call_wait(t, note_thread, &other);
    ck_assert(!pthread_equal(other, pthread_self()));
    ck_assert(!object_delete(set, "io0", &err));
    iothread_unuse(t);
    refused("iothread,id=io1,poll-max-ns=-1", "must not be negative");
    objects_free(set);
}
END_TEST

static size_t given;
static void take(void *arg, const uint8_t *p, size_t n)
{
    (void)arg;
    (void)p;
    given += n;
}

START_TEST(entropy_is_given_later_and_can_be_cancelled)
{
    static const char *const sources[] = {NULL, "r", "b"};
    Loop *l = loop_new(NULL);
    Error err = {0};

    set = objects_new();
    make("rng-random,id=r");
    make("rng-builtin,id=b");
    refused("rng-random,id=x,filename=/nowhere/x", "Could not open '/nowhere/x'");
    for (unsigned i = 0; i < COUNT_OF(sources); i++) {
        Entropy *e = entropy_open(set, sources[i], l, &err);

        ck_assert_msg(e != NULL, "%s", err.msg);
        given = 0;
        ck_assert(entropy_request(e, 100, NULL, take, NULL));
        ck_assert(!entropy_request(e, 100, NULL, take, NULL));
        ck_assert_uint_eq(given, 0);
        loop_step(l, 0);
        ck_assert_uint_eq(given, 100);
        ck_assert(entropy_request(e, 100, NULL, take, NULL));
        entropy_cancel(e);
        loop_step(l, 0);
        ck_assert_uint_eq(given, 100);
        ck_assert(entropy_request(e, 100, NULL, take, NULL));
        entropy_close(e); /* with a call under way */
        loop_step(l, 0);
        ck_assert_uint_eq(given, 100);
    }
    ck_assert_ptr_null(entropy_open(set, "nope", l, &err));
    loop_free(l);
    objects_free(set);
}
END_TEST

START_TEST(classes_describe_themselves)
{
    StrBuf b = {0};
    Error err;

    object_help(&b);
    ck_assert_ptr_nonnull(strstr(strbuf_str(&b), "  secret\n"));
    ck_assert(object_class_help("secret", &b, &err));
    ck_assert_ptr_nonnull(strstr(strbuf_str(&b), "keyid=<str>"));
    ck_assert(!object_class_help("bogus", &b, &err));
    strbuf_free(&b);
    for (const ObjectClass *c = object_class_next(NULL); c; c = object_class_next(c))
        ck_assert_msg(c->doc && *c->doc, "%s", c->name);
}
END_TEST

UNIT_MAIN("object", objects_are_made_found_and_deleted, what_is_wrong_is_refused_by_name,
          secrets_come_from_text_files_and_ciphertext, access_lists_admit_by_the_first_rule,
          memory_backends_are_mapped_and_used_once, iothreads_run_their_loop,
          entropy_is_given_later_and_can_be_cancelled, classes_describe_themselves)
