// Command grapnel is the gateway between webhooks and functions.
package main

func main() {}
